class TwoFer:
    def share(self, name="you"):
        return f"One for {name}, one for me."
