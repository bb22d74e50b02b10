"""`remora doctor`: what is wrong with a system, each finding with the command that fixes it."""
