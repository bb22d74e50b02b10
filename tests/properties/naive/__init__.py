"""A naive model of the domain, written from its rules in words; it imports the standard library and itself."""
