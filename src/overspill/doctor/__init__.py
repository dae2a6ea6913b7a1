"""`overspill doctor`: what this machine is, how fast its parts are, and what to mend."""
