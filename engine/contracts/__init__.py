"""What other teams see: the records that enter Remora from outside, as frozen models with one checker for each topic."""
