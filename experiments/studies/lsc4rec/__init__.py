"""LSC4Rec (arXiv 2501.05647): a cloud's generative recommender and a device's SRM together."""
