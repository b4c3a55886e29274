"""Recording of attention: settings, memory plan, and sums on the device."""
