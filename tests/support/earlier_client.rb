# Ask as the clients of an earlier system do: earlier_client.rb ADDRESS TRACK EXERCISE S3_URI
# CHANNEL=VERSION... Prints each reply on a line of its own. Needs ffi-rzmq.

require 'ffi-rzmq'
require 'json'

address, track, exercise, s3_uri, *versions = ARGV
ACTIONS = { 'static_analyzers' => 'analyze_iteration', 'representers' => 'represent',
            'test_runners' => 'test_solution' }.freeze

socket = ZMQ::Context.new.socket(ZMQ::REQ)
socket.setsockopt(ZMQ::LINGER, 0)
socket.setsockopt(ZMQ::RCVTIMEO, 60_000)
socket.connect(address)
ask = lambda do |request|
  socket.send_string(JSON.generate(request))
  raise 'no reply' unless ZMQ::Util.resultcode_ok?(socket.recv_string(reply = +''))

  puts reply
end

versions.each do |wanted|
  channel, version = wanted.split('=')
  ask.call(action: :deployment_check, track_slug: track, channel: channel)
  ask.call(action: ACTIONS.fetch(channel), id: "#{channel}-1", track_slug: track,
           exercise_slug: exercise, s3_uri: s3_uri, container_version: version)
end
socket.close
