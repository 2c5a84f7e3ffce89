"""The HTTP edge: routes, principals, problem documents. The work is done below."""
