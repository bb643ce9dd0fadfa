"""What a step does to a network: its rate, gradients, the optimiser's rules, the moving average."""
