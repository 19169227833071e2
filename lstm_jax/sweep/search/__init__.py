"""Search by optuna: a sampler proposes settings, a pruner stops what is going badly."""
