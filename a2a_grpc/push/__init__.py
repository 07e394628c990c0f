"""Push notifications: sends the events of tasks to webhooks, and to the agents that asked for them."""
