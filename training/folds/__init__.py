"""Cross-fitting over users: folds, and the stages of models that have not met a fold."""
