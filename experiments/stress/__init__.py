"""nginy beside nginx and HAProxy under stress."""
