# Positional arguments -> results.json, version 3. Their order is that of `write` in bin/run.sh.
def given: if . == "" then null else . end;
def trimmed: sub("\\s+$"; "");
def humanized: sub("^test_"; "") | gsub("_"; " ") | (.[:1] | ascii_upcase) + .[1:];
def limited: if length > 500 then .[:500] + "\n\nOutput was truncated: it is limited to 500 characters." else . end;

$ARGS.positional
| {
    version: 3,
    status: .[0],
    message: (.[1] | given),
    tests: [
      .[2:] | range(0; length; 6) as $i | .[$i:$i + 6]
      | {
          name: (.[0] | humanized),
          test_code: (.[1] | trimmed),
          status: .[2],
          message: (.[3] | trimmed | given),
          output: (.[4] | limited | given),
          task_id: (.[5] | given | if . then tonumber else . end)
        }
      | with_entries(select(.value != null))
    ]
  }
