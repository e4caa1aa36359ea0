"""HTTP in, HTTP out: the application, its routes and middlewares, connections, the relay of an answer."""
