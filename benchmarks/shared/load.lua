-- For wrk: the result as one line of JSON. Without `response` here, wrk calls no Lua while it measures.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"bytes":%d,"errors":%d}\n', summary.requests,
    summary.duration / 1e6, summary.bytes, e.connect + e.read + e.write + e.status + e.timeout))
end
