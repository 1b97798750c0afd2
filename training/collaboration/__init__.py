"""LSC4Rec (arXiv 2501.05647): a generative cloud and a device's SRM together."""
