"""HTTP in and out: translates between connections and values, and decides nothing."""
