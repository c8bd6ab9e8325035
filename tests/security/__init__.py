"""One test for each attack that DESIGN.md section 8 is to withstand, with the attack's bytes."""
