"""Operations: who has which lock, and how to take it away, for people."""
