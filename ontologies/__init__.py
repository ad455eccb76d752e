"""OWL modules, shapes, the authorization model, and the loader that checks them."""
