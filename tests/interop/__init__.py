"""Other people's programs judge what is answered; docs/interop.md is made of what they say."""
