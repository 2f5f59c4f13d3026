"""Programs that dial in to an endpoint from outside: a bridge for stdio servers, a device for the command line."""
