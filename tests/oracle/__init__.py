"""An oracle of what followers must hold and answer, written from the rules in words. It shares no code with the engine.

Enters: recorded fills, followers' plans, and JSON of what happened: signals, reports of the venues, settlements, in the order in which
they happened. Leaves: sentences about everything that the engine did otherwise. Numbers are fractions: nothing is ever rounded.
"""
