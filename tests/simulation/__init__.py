"""Replicas, their store and their bus in one thread and in virtual time: a seed decides everything that happens.

loop       an event loop whose clock jumps; gates, so that what one process does can be stopped from outside
chance     ids, times and jitter of the product, from the seed
faults     what goes wrong, and for how long
deliveries the receivers of push notifications, and the way to them
store      the memory store as replicas reach it: late, in doubt, cut off
bus        wakes that are late, lost, doubled
player     the agent, which writes down what it does
replica    an engine as a process: called, paused, crashed, drained
client     what users do, with retries as clients do them
world      one whole simulation
history    what was seen
checker    the rules that every history keeps
deliveries_checker  those about push notifications
"""
