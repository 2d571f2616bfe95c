"""Run every promise under mpirun; the subworld's size is the argument."""

import sys

import promises

env = promises.environment(subworld_size=int(sys.argv[1])).init()
if env.is_root():
    for promise in promises.PROMISES:
        fresh = env.set_weights({})
        for worker in env._dispatcher.workers:
            env.submit(lambda run, env: env.weights.clear(), worker=worker).result(10)
        env.clear()
        promise(env)
        print("kept", promise.__name__, flush=True)
env.shutdown()
env.shutdown()
print("left", flush=True)
