"""Push notifications: sends the events of tasks to webhooks, and to the agents that asked for them.

delivery  what is delivered to a destination, and the outcome of an attempt
"""
