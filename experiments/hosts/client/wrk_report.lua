-- What wrk counted, as one line of JSON behind its own words.
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        'report {"seconds": %.6f, "requests": %d, "bytes": %d, "errors_connect": %d, '
            .. '"errors_read": %d, "errors_write": %d, "errors_status": %d, "timeouts": %d, '
            .. '"latency_mean_ms": %.6f, "latency_p50_ms": %.6f, "latency_p90_ms": %.6f, '
            .. '"latency_p99_ms": %.6f, "latency_max_ms": %.6f}\n',
        summary.duration / 1e6, summary.requests, summary.bytes, errors.connect,
        errors.read, errors.write, errors.status, errors.timeout,
        latency.mean / 1e3, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
        latency:percentile(99) / 1e3, latency.max / 1e3
    ))
end
