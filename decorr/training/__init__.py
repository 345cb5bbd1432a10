"""The parts of training one network: data, objective, steps and evaluation.

Model, penalty and optimiser are arguments.
"""
