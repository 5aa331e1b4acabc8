module TwoFer
  def self.two_fer(name)
    "One for #{name}, one for me."
  end

  def self.for_all(names)
    names.map { |name| two_fer(name) }
  end
end
