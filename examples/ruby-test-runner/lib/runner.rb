# Runs a solution's tests in a process of their own, and writes results.json from what that process got round to
# saying. Whatever the solution does there (exit!, redefining JSON, printing rubbish), the file is written here.

require "json"
require_relative "test_file"

class Runner
  OUTPUT_LIMIT = 500      # characters of one test's output, by the interface
  MESSAGE_LIMIT = 10_000  # characters of one message: the platform refuses result files beyond 500 kB
  TRUNCATED = "\n\nOutput was truncated: it is limited to #{OUTPUT_LIMIT} characters.".freeze

  def initialize(slug, input, output)
    @input = File.realpath(input)
    @results = File.join(File.realpath(output), "results.json")
    @test_file = find_test_file(slug.tr("-", "_"))
  end

  def call
    write(@test_file ? results_of(*run) : broken("No test file: a file named *_test.rb is needed."))
  end

  private

  def find_test_file(name)
    [File.join(@input, "#{name}_test.rb"), *Dir[File.join(@input, "*_test.rb")].sort].find { |path| File.file?(path) }
  end

  # Files, not pipes: nothing to drain meanwhile, and nothing to wait for when a grandchild keeps them open.
  def run
    output, report = temporary, temporary
    child = spawn("ruby", File.join(__dir__, "child.rb"), @test_file,
                  chdir: @input, in: File::NULL, out: output, 3 => report, pgroup: true)
    _, status = Process.wait2(child)
    kill_group(child)
    [events(report), output, status]
  end

  def kill_group(leader)
    Process.kill(:KILL, -leader)
  rescue Errno::ESRCH
    nil # nobody outlived the child, which is the usual case
  end

  def temporary
    path = "/tmp/runner-#{Process.pid}"
    File.open(path, "ab+", 0o600).tap { File.unlink(path) }
  end

  # A line is an event's name and its fields in base64, parted by tabs. See child.rb.
  def events(report)
    report.rewind
    report.each_line.map do |line|
      name, *fields = line.chomp.split("\t")
      [name.to_sym, *fields.map { |field| text(field.unpack1("m")) }]
    end
  end

  def results_of(events, output, status)
    tests = []
    begun = nil
    events.each do |event, *fields|
      case event
      when :broken then return broken(*fields)
      when :begin then begun = fields
      when :pass, :fail, :error then tests << test(event, *begun, *fields, output)
      when :done then return finished(tests)
      end
    end
    cut_short(begun, status)
  end

  def test(status, name, line, start, message, finish, output)
    code, task = source.at(line.to_i)
    { name: humanize(name), test_code: code, status: status, message: (shorten(message) unless status == :pass),
      output: printed(output, start.to_i, finish.to_i), task_id: task }.compact
  end

  def source
    @source ||= TestFile.new(@test_file)
  end

  def finished(tests)
    return broken("#{File.basename(@test_file)} holds no tests.") if tests.empty?

    status = tests.all? { |test| test[:status] == :pass } ? :pass : :fail
    { version: 3, status: status, message: nil, tests: tests }
  end

  def broken(message)
    { version: 3, status: :error, message: shorten(message), tests: [] }
  end

  def cut_short(begun, status)
    reason = status.signaled? ? "was killed by signal #{status.termsig}" : "exited with status #{status.exitstatus}"
    place = begun ? " during the test \"#{humanize(begun.first)}\"" : ""
    broken("The program #{reason}#{place}, before all tests had run. Does the solution call exit?")
  end

  def printed(output, start, finish)
    return if finish <= start

    output.seek(start)
    printed = text(output.read([finish - start, 4 * (OUTPUT_LIMIT + 1)].min).to_s)
    printed.size > OUTPUT_LIMIT ? printed[0, OUTPUT_LIMIT] + TRUNCATED : printed
  end

  def shorten(message)
    message.gsub("#{@input}/", "")[0, MESSAGE_LIMIT]
  end

  def humanize(name)
    name.sub(/\Atest_(\d{4}_)?/, "").tr("_", " ").sub(/\S/, &:upcase)
  end

  def text(bytes)
    bytes.force_encoding(Encoding::UTF_8).scrub
  end

  # Aside and renamed, so that there is never half a file, and never one written through the solution's symlink.
  def write(results)
    aside = "#{@results}.#{Process.pid}"
    File.write(aside, JSON.pretty_generate(results) << "\n", mode: "wx")
    File.rename(aside, @results)
  end
end

Runner.new(*ARGV).call
