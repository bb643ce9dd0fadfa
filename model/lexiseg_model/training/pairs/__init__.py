"""What trainings on pairs share: which are held out, how photographs are varied."""
