"""Training one network: data, objective, steps, evaluation. Model, penalty and optimiser are arguments."""
