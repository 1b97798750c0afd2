"""The fleet of simulated devices, and the evidence it leaves."""
