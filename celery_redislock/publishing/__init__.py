"""Publishing: with `lock_scope`, a call that waits or runs already is not published again."""
