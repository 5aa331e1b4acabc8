module TwoFer
  def self.two_fer(name = "you")
    puts "name: #{name}"
    "One for you, one for me."
  end
end
