"""The five behaviours: what each actor decides, one file each."""
