"""Where bitcoin can be sent: invoices, addresses, links and offers as people write them."""
