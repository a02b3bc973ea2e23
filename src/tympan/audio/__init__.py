"""Sound -> waveform -> log-mel features: what comes in from outside, made into what the encoder hears."""
