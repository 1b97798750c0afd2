# Debian's Prometheus with our configuration, for machines that reach no registry.
FROM debian:bookworm-slim AS prometheus
RUN apt-get update && apt-get install -y --no-install-recommends prometheus \
 && rm -rf /var/lib/apt/lists/* /etc/prometheus \
 && install -d -o 65534 -g 65534 /prometheus
COPY --chmod=0755 deploy/prometheus/ /etc/prometheus/
ENTRYPOINT ["prometheus"]
