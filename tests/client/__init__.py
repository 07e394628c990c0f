"""The client, against real servers, through real faults."""
