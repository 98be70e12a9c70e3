"""Attacks by somebody who has the candidate's weights. One file for each probe; `registry` finds them."""
