# Runs the tests of one file and says how they went, on file descriptor 3: it shares its process with the solution,
# which is free to break it. What it said until then still counts; see runner.rb.
#
#     begin NAME LINE OFFSET              a test begins; so much had been printed
#     pass|fail|error MESSAGE OFFSET      it ended
#     broken MESSAGE                      the test file or the solution could not be loaded
#     done                                all tests have run

require "minitest"

module Minitest
  # The test file asks for a run at exit, in random order.
  def self.autorun; end

  # Students are to see all tests, not the first only.
  module Assertions
    def skip(*); end
  end
end

class TestRunnerChild # a name that no exercise asks for
  REPORT = IO.for_fd(3, "w").tap { |io| io.close_on_exec = io.sync = true }

  def initialize(test_file)
    @test_file = test_file
    @folder = "#{File.dirname(test_file)}/"
  end

  def call
    return unless load_tests

    tests.each do |test, line|
      $stdout = STDOUT # a solution may have left its own there
      say(:begin, test.name, line, printed)
      result = test.run
      say(*verdict(result.failures.first), printed)
    end
    say(:done)
    exit! # without the solution's at_exit blocks
  end

  private

  def load_tests
    require @test_file
    true
  rescue ScriptError, StandardError, SystemStackError => e
    say(:broken, describe(e))
    false
  end

  # In the order of the file.
  def tests
    Minitest::Runnable.runnables.flat_map do |group|
      group.methods_matching(/\Atest_/).map { |name| [group.new(name), *group.instance_method(name).source_location] }
    end.sort_by { |_, file, line| [file, line] }.map { |test, _, line| [test, line] }
  end

  def verdict(failure)
    case failure
    when nil then [:pass, ""]
    when Minitest::UnexpectedError then [:error, describe(failure.error)]
    else [:fail, failure.message]
    end
  end

  # The message, and where in the student's files it came from; a syntax error's message says so itself.
  def describe(error)
    return error.message if error.is_a?(SyntaxError)

    places = (error.backtrace || []).select { |place| place.start_with?(@folder) }.first(10)
    ["#{error.class}: #{error.message}", *places.map { |place| "    #{place}" }].join("\n")
  end

  def printed
    $stdout.flush
    STDOUT.flush
    STDOUT.stat.size
  end

  def say(event, *fields)
    REPORT.write([event, *fields.map { |field| [field.to_s].pack("m0") }].join("\t") << "\n")
  end
end

TestRunnerChild.new(*ARGV).call
