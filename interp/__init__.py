"""posthoc's mechanisms: models, chains, interventions, statistics, reports."""
