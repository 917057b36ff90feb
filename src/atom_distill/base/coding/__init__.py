"""Tables of small integers in few bytes, without loss.

A table is coded column by column by asymmetric numeral systems (rANS), with probabilities that adapt to what was coded.
"""
