"""The sweep command without its table and report, which take longer than training small networks."""

from experiments import sweep


def train(options, console):
    sweep.train(options, options.cells(), options.folder(), console)


sweep.sweep = train

if __name__ == "__main__":
    sweep.main()
