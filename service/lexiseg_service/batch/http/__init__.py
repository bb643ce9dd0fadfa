"""Jobs over HTTP: routes, and the operations behind them."""
