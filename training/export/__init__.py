"""From a trained model to a bundle, checked against torch."""
