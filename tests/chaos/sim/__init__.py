"""A whole deployment in one thread: sequencers, engines and executors (the real classes) on a virtual log, clock and exchange."""
