# Debian's Prometheus with our configuration, for machines that reach no registry.
FROM debian:bookworm-slim AS prometheus
RUN apt-get update && apt-get install -y --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/* /etc/prometheus
COPY --chmod=0755 deploy/prometheus/ /etc/prometheus/
ENTRYPOINT ["prometheus"]
