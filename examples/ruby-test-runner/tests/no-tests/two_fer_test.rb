require "minitest/autorun"
require_relative "two_fer"
