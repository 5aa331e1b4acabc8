module TwoFer
  GREETING = gretting
end
