# What a student is shown of a test: its code, and the task of the exercise that it belongs to.
#
# The task is named by a comment just above the test or inside of it: `# task_id: 2`.
class TestFile
  TASK = /^\s*#\s*task_id:\s*(\d+)\s*$/
  SKIP = /^\s*(#\s*)?skip\b/

  def initialize(path)
    @lines = File.readlines(path, encoding: Encoding::UTF_8).map(&:scrub)
    @ends = Hash.new { |_, line| line }
    collect(RubyVM::AbstractSyntaxTree.parse(@lines.join))
  end

  # The code and the task of the test that begins in this line: a `def`, or a block's `do`.
  def at(line)
    last = @ends[line]
    whole = @lines[line - 1..last - 1] || []
    body = whole.size > 2 ? whole[1..-2] : whole
    [dedent(body.reject { |text| SKIP.match?(text) || TASK.match?(text) }), task([above(line), *whole])]
  end

  private

  def collect(node)
    return unless node.is_a?(RubyVM::AbstractSyntaxTree::Node)

    @ends[node.first_lineno] = node.last_lineno if %i[DEFN ITER].include?(node.type) && !@ends.key?(node.first_lineno)
    node.children.each { |child| collect(child) }
  end

  def above(line)
    line > 1 ? @lines[line - 2] : ""
  end

  def task(lines)
    lines.filter_map { |text| text[TASK, 1] }.first&.to_i
  end

  def dedent(lines)
    indent = lines.reject { |text| text.strip.empty? }.map { |text| text[/\A */].size }.min || 0
    lines.map { |text| text.strip.empty? ? "\n" : text[indent..] }.join.strip
  end
end
